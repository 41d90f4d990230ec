//! End-to-end tests of Rollcall.
