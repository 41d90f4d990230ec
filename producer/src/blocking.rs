//! Work that blocks, such as reading a file that may be large, or writing to a pipe that nobody reads.

use tokio::sync::oneshot;

use crate::run::Failure;

/// Does `work` on a thread of its own, from now on. Whoever stops waiting for it need not wait for its end: it ends with the process, which
/// the runtime's own threads for blocking work would hold up.
///
/// # Errors
/// [`Failure::Other`] where it crashed.
pub(crate) fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Failure>> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || drop(done.send(work())));
    async { result.await.map_err(|_| Failure::Other("reading or writing the file crashed".to_owned())) }
}
