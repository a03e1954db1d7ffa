//! SIGHUP: read everything again, and open the access log again.
//!
//! Owns the signal, whose default would end the process.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::serve::reload::Reloader;

/// Takes the signal over from here on and reloads at each, on a thread of its own that ends with
/// the process.
///
/// # Errors
/// When the signal or a thread cannot be had.
pub fn follow_sighup(reloader: Arc<Reloader>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let follow = move || {
        while runtime.block_on(hangups.recv()).is_some() {
            reloader.shared().observers.access_log.reopen();
            reloader.reload();
        }
    };
    std::thread::Builder::new().name("sighup".to_owned()).spawn(follow)?;
    Ok(())
}
