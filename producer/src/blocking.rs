//! Work that blocks, such as reading a file that may be large or a pipe that nobody writes to.

use tokio::sync::oneshot;

use crate::run::Failure;

/// Does `work` on a thread of its own. Whoever stops waiting for it need not wait for its end: it ends with the process, which
/// the runtime's own threads for blocking work would hold up.
///
/// # Errors
/// [`Failure::Other`] where it crashed.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || drop(done.send(work())));
    result.await.map_err(|_| Failure::Other("reading the file crashed".to_owned()))
}
