//! What the scorer promises, on small networks and on those of the bnlearn repository.

mod dialects;
mod exactness;
mod hostile_files;
mod promises;
mod reference;
mod writers;
