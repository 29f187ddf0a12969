//! Placeholder so that the module exists before its tests.
