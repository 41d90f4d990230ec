//! Work that blocks, such as reading a file that may be large, or writing to a pipe that nobody reads.

use tokio::sync::oneshot;

use crate::run::Failure;

/// Does `work` on a thread of its own, from now on. Whoever stops waiting for it need not wait for its end: it ends with the process, which
/// the runtime's own threads for blocking work would hold up.
///
/// # Errors
/// [`Failure::Other`] where it crashed, or the system gives no thread for it.
pub(crate) fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Failure>> {
    let (done, result) = oneshot::channel();
    let started = start_thread(move || drop(done.send(work())));
    async {
        started?;
        result.await.map_err(|_| Failure::Other("reading or writing the file crashed".to_owned()))
    }
}

/// Starts a thread that ends with the process.
///
/// # Errors
/// [`Failure::Other`] where the system gives none.
pub(crate) fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = std::thread::Builder::new().spawn(work);
    started.map(drop).map_err(|error| {
        Failure::Other(format!(
            "cannot start a thread: {error}; raise the limits of processes and of memory (ulimit -u, ulimit -v)"
        ))
    })
}
