//! How much memory is available for caches.
//!
//! RocksDB aborts the process if an allocation fails, in the middle of whatever it does, so the available
//! memory is checked before RocksDB is opened.

use std::fs;
use std::path::Path;

/// Minimum memory of a process in addition to its caches, in bytes.
const BESIDE_CACHES: u64 = 128 << 20;

/// The same of addresses, most of which are never touched: of threads, and of what allocators reserve.
/// With `ulimit -v` 300,000 RocksDB ended the process, with 500,000 it did not.
const ADDRESSES: u64 = 512 << 20;

/// What there is for caches, by the limit that leaves least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes for caches.
    pub(crate) bytes: u64,
    /// Bytes that the process may use in all.
    pub(crate) limit: u64,
}

/// The room that there is, by what the machine has, by what the control groups of this process allow it,
/// and by its own limit for addresses (`ulimit -v`); `None` where nothing says so.
pub(crate) fn room() -> Option<Room> {
    let resident = [machine(), group()]
        .into_iter()
        .flatten()
        .map(|limit| Room { bytes: limit.saturating_sub(BESIDE_CACHES), limit });
    let addresses = address_limit().map(|limit| Room {
        bytes: limit.saturating_sub(addresses().unwrap_or_default()).saturating_sub(ADDRESSES),
        limit,
    });
    resident.chain(addresses).min_by_key(|room| room.bytes)
}

/// What the machine has.
fn machine() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemTotal:")
}

/// The least limit of the control groups that the process is in.
fn group() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = Path::new("/sys/fs/cgroup").join(path);
    let limits = group.ancestors().filter_map(|group| {
        // Those without a limit say "max".
        fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()
    });
    limits.min()
}

/// How many bytes of addresses it may have; the soft limit.
fn address_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    // One that is not limited says "unlimited".
    line.split_whitespace().next()?.parse().ok()
}

/// How many it has.
fn addresses() -> Option<u64> {
    kibibytes("/proc/self/status", "VmSize:")
}

/// The number of bytes that the system tells in a line such as `VmSize:   123 kB`.
fn kibibytes(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_some_memory() {
        let room = room().unwrap();
        assert!(room.limit > 1 << 20 && room.limit <= machine().unwrap(), "{room:?}");
        assert!(room.bytes < room.limit);
        assert!(addresses().unwrap() > 1 << 20);
    }
}
