//! Sends each job to the backend that is predicted to be fastest, and learns from what it took.
