//! What this machine is and what it can do: features from the processor, rates by measurement.
