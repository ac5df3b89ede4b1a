//! The system calls that the lane needs and the standard library does not have.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::atomics::AtomicU32;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file in memory of `size` bytes, whose size nobody can change any more.
pub(super) fn memory_file(name: &CStr, size: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated.
    let fd = own(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) })?;
    let size = libc::off_t::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: plain values.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: plain values.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(fd)
}

/// The size of a file that cannot shrink; an error when it can.
pub(super) fn sealed_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: plain values.
    let seals = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
    if seals & libc::F_SEAL_SHRINK == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the lane's file is not sealed"));
    }
    // SAFETY: `stat` is plain data, for which zeroes are a value, and it is filled before it is read.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::fstat(fd.as_raw_fd(), &raw mut stat))?;
        stat
    };
    usize::try_from(stat.st_size).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// An event counter that wakes whoever waits for it.
pub(super) fn event() -> io::Result<OwnedFd> {
    // SAFETY: plain values.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Counts up an event. Callable in a signal handler.
pub(super) fn ring(fd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: eight bytes of a live integer. It can fail only when the counter is full, and then it wakes all the same.
    let _ = unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
}

/// A clock that makes its descriptor readable at a moment, to the microsecond: the runtime's timers know milliseconds.
#[cfg(feature = "gateway")]
pub(super) fn alarm() -> io::Result<OwnedFd> {
    // SAFETY: plain values.
    own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })
}

/// Has `alarm` ring once, after `span` (not zero).
#[cfg(feature = "gateway")]
pub(super) fn set_alarm(alarm: BorrowedFd<'_>, span: Duration) -> io::Result<()> {
    let second =
        libc::time_t::try_from(span.as_secs()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let value = libc::timespec { tv_sec: second, tv_nsec: libc::c_long::from(span.subsec_nanos()) };
    let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    // SAFETY: a live value that is only read; nobody asks for the old one.
    check(unsafe { libc::timerfd_settime(alarm.as_raw_fd(), 0, &raw const once, ptr::null_mut()) }).map(drop)
}

/// A second descriptor of the same open file, closed on exec.
pub(super) fn duplicate(raw: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain values; a number that is no descriptor is an error.
    own(unsafe { libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, 3) })
}

/// A new open file of the same file, which locks for itself.
pub(super) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(std::fs::File::options().read(true).write(true).open(path)?.into())
}

/// Whether descriptors stay open over exec; for those who hand a lane on.
pub(super) fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain values.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
}

fn byte_lock(at: i64) -> libc::flock {
    // SAFETY: `flock` is plain data, for which zeroes are a value; its pid must be zero for locks of open files.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at;
    lock.l_len = 1;
    lock
}

/// Locks a byte for this open file; false when another has it.
pub(super) fn lock_byte(fd: BorrowedFd<'_>, at: i64) -> io::Result<bool> {
    let lock = byte_lock(at);
    // SAFETY: the lock outlives the call.
    match check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives up a byte's lock.
pub(super) fn unlock_byte(fd: BorrowedFd<'_>, at: i64) {
    let mut lock = byte_lock(at);
    lock.l_type = libc::F_UNLCK as libc::c_short;
    // SAFETY: the lock outlives the call. Unlocking our own byte cannot fail.
    let _ = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
}

/// Whether another open file has locked a byte.
pub(super) fn is_byte_locked(fd: BorrowedFd<'_>, at: i64) -> io::Result<bool> {
    let mut lock = byte_lock(at);
    // SAFETY: the lock outlives the call, which fills it.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// The machine's monotonic clock, the same in every process.
pub(super) fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time outlives the call, which fills it and cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}

/// Sleeps while `word` is `value`, until a wake-up, a signal or the time.
pub(super) fn futex_wait(word: &AtomicU32, value: u32, time: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    };
    // SAFETY: word and time outlive the call. Not private: the waker is another process.
    unsafe {
        libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAIT, value, &raw const time);
    }
}

/// Wakes who sleeps on `word`.
#[cfg(feature = "gateway")]
pub(super) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe {
        libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, 1);
    }
}

/// An epoll of this process.
#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

/// How a descriptor is watched.
#[derive(Debug, Clone, Copy)]
pub(super) enum Watch {
    /// Of the processes that watch it, one is woken.
    Shared,
    /// One is woken, and only by what is new.
    SharedEdge,
    /// For this process alone.
    Own,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: plain values.
        own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    pub(super) fn watch(&self, fd: BorrowedFd<'_>, how: Watch, token: u64) -> io::Result<()> {
        let events = libc::EPOLLIN
            | match how {
                Watch::Shared => libc::EPOLLEXCLUSIVE,
                Watch::SharedEdge => libc::EPOLLEXCLUSIVE | libc::EPOLLET,
                Watch::Own => 0,
            };
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
        // SAFETY: the event outlives the call.
        check(unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        })
        .map(drop)
    }

    pub(super) fn unwatch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: no event is needed to remove.
        check(unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut())
        })
        .map(drop)
    }

    /// Waits; the tokens of what is ready, as many as fit.
    pub(super) fn wait(&self, tokens: &mut [u64; EVENTS], time: Option<Duration>) -> io::Result<usize> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // Rounded up: a wait that ends before its time would be repeated in vain.
        let time = time.map_or(-1, |t| i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        let room = libc::c_int::try_from(EVENTS).unwrap_or(1);
        // SAFETY: room for as many events as we say.
        let count = check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, time) })?;
        let count = usize::try_from(count).unwrap_or(0).min(EVENTS);
        for (token, event) in tokens.iter_mut().zip(&events[..count]) {
            *token = event.u64;
        }
        Ok(count)
    }
}

/// Events that are fetched at one time.
pub(super) const EVENTS: usize = 8;

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Maps `size` bytes of a file, shared, between two pages that nobody may touch.
pub(super) fn map(fd: BorrowedFd<'_>, size: usize) -> io::Result<ptr::NonNull<u8>> {
    let room = size.checked_add(2 * GUARD).ok_or(io::ErrorKind::OutOfMemory)?;
    let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping of the kernel's choice touches nothing of ours.
    let base = unsafe { libc::mmap(ptr::null_mut(), room, libc::PROT_NONE, reserve, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let at = base.cast::<u8>().wrapping_add(GUARD);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: replaces pages inside of what we have just reserved.
    let mapped =
        unsafe { libc::mmap(at.cast(), size, rights, libc::MAP_SHARED | libc::MAP_FIXED, fd.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        // SAFETY: our own reservation, which nobody uses.
        unsafe { libc::munmap(base, room) };
        return Err(error);
    }
    Ok(ptr::NonNull::new(at).expect("the kernel maps nothing at zero"))
}

/// Ends a mapping of [`map`].
///
/// # Safety
/// `at` and `size` are those of [`map`], and nobody uses the memory any more.
pub(super) unsafe fn unmap(at: ptr::NonNull<u8>, size: usize) {
    let base = at.as_ptr().wrapping_sub(GUARD);
    // SAFETY: the caller's promise; the guards belong to the same reservation.
    unsafe { libc::munmap(base.cast(), size + 2 * GUARD) };
}

const GUARD: usize = 4096;
