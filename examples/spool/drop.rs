//! Drop a job for each line of stdin, a shell command, into a queuectl spool:  rustc drop.rs && ./drop SPOOL < commands
//! Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
use std::collections::hash_map::RandomState;
use std::fs::{rename, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{stdin, BufRead, Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::UNIX_EPOCH;

fn json(text: &str) -> String {
    let escape = |c| match c {
        '"' | '\\' | '\0'..='\x1f' => format!("\\u{:04x}", c as u32),
        _ => String::from(c),
    };
    text.chars().map(escape).collect()
}

fn main() -> Result<()> {
    let usage = || Error::new(ErrorKind::InvalidInput, "usage: drop SPOOL < commands");
    let spool = std::env::args().nth(1).ok_or_else(usage)?;
    for line in stdin().lock().lines() {
        let command = line?;
        if !command.is_empty() {
            let (age, chance) = (UNIX_EPOCH.elapsed().unwrap(), RandomState::new().build_hasher().finish());
            let name = format!("rust-{}-{}-{chance:016x}.json", age.as_nanos(), std::process::id());
            let temporary = format!("{spool}/tmp/{name}");
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            writeln!(file, "{{\"command\": \"{}\"}}", json(&command))?;
            file.sync_all()?; // on disk before it has a name that counts
            rename(&temporary, format!("{spool}/pending/{name}"))?;
        }
    }
    for directory in ["tmp", "pending"] {
        File::open(format!("{spool}/{directory}"))?.sync_all()?; // the names are on disk now, too
    }
    Ok(())
}
