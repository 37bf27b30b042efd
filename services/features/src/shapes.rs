//! The JSON shapes of the features service, made from the engine's picture.
