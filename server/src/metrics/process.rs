use std::fs;

use super::text::Text;

/// Ticks of processor time a second, as Linux tells programs, whatever its own are.
const TICKS: f64 = 100.0;

/// What the system says of this process. Where it does not tell, there are no samples.
pub(super) fn write(text: &mut Text) {
    if let Some(bytes) = status("VmRSS:").map(|kilobytes| kilobytes.saturating_mul(1024)) {
        text.gauge("process_resident_memory_bytes", "Memory that the process holds.", bytes);
    }
    if let Some(threads) = status("Threads:") {
        text.gauge("process_threads", "Threads of the process.", threads);
    }
    // The folder that is read is one of them.
    if let Ok(open) = fs::read_dir("/proc/self/fd").map(|files| files.count().saturating_sub(1)) {
        text.gauge("process_open_fds", "Files and sockets that are open.", open);
    }
    if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
        text.gauge("process_max_fds", "Files and sockets that may be open.", soft);
    }
    if let Some(seconds) = processor_seconds() {
        let help = "Processor time of all threads, of user and system.";
        text.counter("process_cpu_seconds_total", help, seconds);
    }
    if let Some(seconds) = start_seconds() {
        text.gauge("process_start_time_seconds", "When the process began, Unix time.", seconds);
    }
}

/// The number behind `name` in the status of this process.
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` behind the name of the process, the first is the state.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name is in parentheses and may have some itself.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(field)?.parse().ok()
}

fn processor_seconds() -> Option<f64> {
    Some((stat(11)? + stat(12)?) / TICKS)
}

fn start_seconds() -> Option<f64> {
    let stat_of_all = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 =
        stat_of_all.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat(19)? / TICKS)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn process_knows_itself() {
        if !std::path::Path::new("/proc/self/stat").exists() {
            return;
        }
        assert!(status("VmRSS:").unwrap() > 0 && status("Threads:").unwrap() > 0);
        assert!(processor_seconds().unwrap() >= 0.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let begin = start_seconds().unwrap();
        assert!(begin < now + 2.0 && begin > now - 24.0 * 3600.0, "{begin} {now}");
    }
}
