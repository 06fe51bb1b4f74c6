//! A terminal for a program.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Makes one of so many columns; returns our side and the program's.
pub fn open(columns: u16) -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).expect("fcntl");
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).expect("a terminal's size");
    let name = ptsname(&master, Vec::new()).expect("the terminal's name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty()).expect("the terminal");
    (master, slave)
}

/// Runs `command` with this terminal as the controlling one, and as its standard streams.
pub fn on(slave: &OwnedFd, command: &Command) -> Command {
    let stdio = || Stdio::from(slave.try_clone().expect("a descriptor"));
    // Makes the terminal the controlling one, then becomes the program.
    let mut on_terminal = Command::new("setsid");
    on_terminal
        .arg("--ctty")
        .arg(command.get_program())
        .args(command.get_args());
    on_terminal.stdin(stdio()).stdout(stdio()).stderr(stdio());
    on_terminal
}
