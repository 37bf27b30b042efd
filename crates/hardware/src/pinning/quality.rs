//! Quality of service of macOS: the only say a thread has there in when and, on Apple silicon, on which kind of core it
//! runs. Each thread speaks for itself.
#![allow(unsafe_code)]

use libc::qos_class_t;

/// A thread with a quality of its own. Dropping it, on that thread, gives it back its former one.
#[derive(Debug)]
#[must_use = "dropping it gives the thread its former quality"]
pub struct Raised {
    before: qos_class_t,
    priority: libc::c_int,
    /// It belongs to its thread.
    _here: std::marker::PhantomData<*const ()>,
}

/// Gives the calling thread the highest quality, that of what a user waits for: performance cores first, and no timer
/// coalescing.
///
/// # Errors
/// One sentence that says why not.
pub fn raise_current_thread() -> Result<Raised, String> {
    let (mut before, mut priority) = (qos_class_t::QOS_CLASS_DEFAULT, 0);
    // SAFETY: both are written by the call, on the calling thread, which lives.
    let read =
        unsafe { libc::pthread_get_qos_class_np(libc::pthread_self(), &raw mut before, &raw mut priority) };
    if read != 0 {
        return Err(std::io::Error::from_raw_os_error(read).to_string());
    }
    set(qos_class_t::QOS_CLASS_USER_INTERACTIVE, 0)?;
    Ok(Raised { before, priority, _here: std::marker::PhantomData })
}

fn set(class: qos_class_t, priority: libc::c_int) -> Result<(), String> {
    // SAFETY: it takes two numbers and concerns the calling thread alone.
    let status = unsafe { libc::pthread_set_qos_class_self_np(class, priority) };
    if status == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(status).to_string()) }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // A thread that had none keeps the new one: the system takes no step back to nothing.
        if let Err(reason) = set(self.before, self.priority) {
            tracing::debug!("the thread keeps its quality of service: {reason}");
        }
    }
}
