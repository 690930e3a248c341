//! A death at every step of every operation, and its client trying again.
