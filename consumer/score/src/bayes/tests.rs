//! Tests of the whole scorer, on small networks and on those of the bnlearn repository.

mod dialects;
mod exactness;
mod hostile_files;
mod predictions;
mod reference;
mod writers;
