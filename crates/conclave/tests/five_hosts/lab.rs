//! Hosts of their own in one machine: network namespaces with their own addresses and links,
//! joined by a switch.
//!
//! Always true: nothing outside the namespaces of this laboratory is changed, and dropping it
//! removes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Prefix of the names of all laboratories.
const PREFIX: &str = "cvlab";
/// Directory in which `ip netns` keeps the namespaces.
const NAMESPACES: &str = "/run/netns";
/// An unused Ethernet address: packets that are sent to it are silently lost.
const UNUSED_ADDRESS: &str = "02:00:00:00:00:ff";

/// A switch and the hosts connected to it. Hosts are numbered; from [`Lab::DESKS`] on they are
/// people's machines.
pub(crate) struct Lab {
    name: String,
    owner: bool,
    /// Directory in which the hosts keep their files.
    pub(crate) directory: PathBuf,
}

impl Lab {
    /// First number of the people's machines.
    pub(crate) const DESKS: u8 = 101;

    /// Returns why no laboratory can be built here, or `None` if one can.
    pub(crate) fn obstacle() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("it needs root, for network namespaces".to_owned());
        }
        let version = Command::new("ip").arg("-V").output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Some("it needs iproute2, for network namespaces".to_owned());
        }
        let trial = format!("{PREFIX}{}-trial", std::process::id());
        let made = run(&["netns", "add", &trial]);
        let _ = run(&["netns", "del", &trial]);
        match made {
            Ok(_) => None,
            Err(why) => Some(format!("it can make no network namespaces: {why}")),
        }
    }

    /// Builds the hosts and connects them. Removes what a killed run has left behind.
    pub(crate) fn build(hosts: &[u8], directory: &Path) -> Self {
        sweep();
        let lab = Self {
            name: format!("{PREFIX}{}", std::process::id()),
            owner: true,
            directory: directory.to_owned(),
        };
        ip(&["netns", "add", &lab.switch()]);
        lab.at_switch(&["link", "add", "switch", "type", "bridge"]);
        lab.at_switch(&["link", "set", "switch", "up"]);
        for host in hosts {
            lab.add_host(*host);
        }
        lab
    }

    /// Returns the laboratory that another process has built.
    pub(crate) fn visit(name: &str, directory: &Path) -> Self {
        Self {
            name: name.to_owned(),
            owner: false,
            directory: directory.to_owned(),
        }
    }

    /// Returns the laboratory's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn add_host(&self, host: u8) {
        let (namespace, port) = (self.host(host), port(host));
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        self.at_switch(&[
            "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
        ]);
        self.at_switch(&["link", "set", &port, "master", "switch"]);
        self.at_switch(&["link", "set", &port, "up"]);
        let address = format!("{}/24", address(host));
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"]);
        ip(&["-n", &namespace, "link", "set", "eth0", "up"]);
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn host(&self, host: u8) -> String {
        format!("{}-h{host}", self.name)
    }

    fn at_switch(&self, arguments: &[&str]) {
        let switch = self.switch();
        ip(&[&["-n", switch.as_str()][..], arguments].concat());
    }

    /// Returns a command that runs `program` on a host.
    pub(crate) fn on(&self, host: u8, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.host(host)])
            .arg(program);
        command
    }

    /// Unplugs the cable of a host.
    pub(crate) fn unplug(&self, host: u8) {
        self.at_switch(&["link", "set", &port(host), "down"]);
    }

    /// Plugs the cable of a host in again.
    pub(crate) fn plug_in(&self, host: u8) {
        self.at_switch(&["link", "set", &port(host), "up"]);
    }

    /// Drops everything that `from` sends to any of `to`; `from` still receives what they send.
    pub(crate) fn mute(&self, from: u8, to: &[u8]) {
        for other in to {
            let (namespace, address) = (self.host(from), address(*other));
            ip(&[
                "-n",
                &namespace,
                "neigh",
                "replace",
                &address,
                "lladdr",
                UNUSED_ADDRESS,
                "dev",
                "eth0",
                "nud",
                "permanent",
            ]);
        }
    }

    /// Delivers again what `from` sends to `to`.
    pub(crate) fn unmute(&self, from: u8, to: &[u8]) {
        for other in to {
            let (namespace, address) = (self.host(from), address(*other));
            ip(&["-n", &namespace, "neigh", "del", &address, "dev", "eth0"]);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owner {
            remove(&self.name);
        }
    }
}

/// Returns the IP address of a host.
pub(crate) fn address(host: u8) -> String {
    format!("10.77.0.{host}")
}

/// Returns the name of the switch port for a host.
fn port(host: u8) -> String {
    format!("port{host}")
}

/// Removes the laboratories of processes that have ended.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    for name in names.filter_map(|name| name.into_string().ok()) {
        let lab = name.split('-').next().unwrap_or_default().to_owned();
        let process = lab
            .strip_prefix(PREFIX)
            .and_then(|id| id.parse::<u32>().ok());
        let Some(process) = process else { continue };
        if !Path::new(&format!("/proc/{process}")).exists() {
            remove(&lab);
        }
    }
}

fn remove(lab: &str) {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    for name in names.filter_map(|name| name.into_string().ok()) {
        if name.starts_with(&format!("{lab}-")) {
            let _ = run(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) {
    if let Err(why) = run(arguments) {
        panic!("ip {}: {why}", arguments.join(" "));
    }
}

fn run(arguments: &[&str]) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let Output { status, stderr, .. } = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(failed)?;
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
    }
}
