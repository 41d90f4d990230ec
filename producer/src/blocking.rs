//! Blocking work, such as reading a large file or writing to a pipe without a reader.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::ProducerError;

/// Starts `work` on a thread of its own at once, and returns a future of its result. A caller that drops the future leaves the thread
/// behind; it ends with the process. (The runtime would wait for a thread of `spawn_blocking` at its shutdown.)
///
/// # Errors
/// [`ProducerError::System`] if the work panics, or the system gives no thread.
pub(crate) fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, ProducerError>> {
    let (done, result) = oneshot::channel();
    let started = start_thread(move || drop(done.send(work())));
    async {
        started?;
        result.await.map_err(|_| ProducerError::System("reading or writing the file crashed".to_owned()))
    }
}

/// Runs the future that `start` returns on a thread of its own, beside the runtime: what supervises a connection cannot move between threads.
/// A caller that drops the future that is returned leaves the thread to finish.
///
/// # Errors
/// As [`on_a_thread`].
pub(crate) fn on_a_thread_of_its_own<T: Send + 'static, F: Future<Output = T>>(
    start: impl FnOnce() -> F + Send + 'static,
) -> impl Future<Output = Result<T, ProducerError>> {
    let runtime = Handle::current();
    on_a_thread(move || runtime.block_on(start()))
}

/// Starts a thread that ends with the process. It is in the context of the runtime, which reads objects for it.
///
/// # Errors
/// [`ProducerError::System`] if the system gives none.
pub(crate) fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), ProducerError> {
    let runtime = Handle::current();
    let started = std::thread::Builder::new().spawn(move || {
        let _context = runtime.enter();
        work();
    });
    started.map(drop).map_err(|error| {
        ProducerError::System(format!(
            "cannot start a thread: {error}; raise the limits of processes and of memory (ulimit -u, ulimit -v)"
        ))
    })
}
