//! What is wrong with a configuration, or on the machine: place, reason and remedy, and exit code 78. Every rule of the
//! file itself is tested in `config/tests`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;

use super::gateway::{Gateway, RIGHT, lineside, told, with};

#[test]
fn bad_input_is_answered_with_its_place_the_reason_and_a_remedy() {
    let gateway = Gateway::new();
    let key = gateway.path("pki/gw-paint-01.key");
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let mut report = String::new();
    let mut check = |title: &str, text: &str| {
        let shown = gateway.shown(text, &["check"]);
        assert!(shown.starts_with("exit 78\n--- stderr ---\nerror: "), "{title}: {shown}");
        assert!(shown.contains("--> [DIR]/lineside.toml:") && shown.contains("= help: "), "{title}: {shown}");
        report += &format!("##### {title}\n{shown}\n");
    };
    check("unknown key", &with("certificate =", "retry_mim = \"1s\"\ncertificate ="));
    check("wrong type", &with("poll = \"1d\"", "poll = 1"));
    let second = "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:2\"\n\
                  [[device.signal]]\nname = \"stroke\"\nregister = \"input:0\"\n";
    check("duplicate device", &(RIGHT.to_owned() + second));
    check("duplicate signal", &with("\"oil_temperature\"", "\"hydraulic_pressure\""));
    check("register out of range", &with("holding:0", "holding:65536"));
    check("the second register of a value out of range", &with("holding:0", "holding:65535"));
    check("reference out of range", &with("40003", "480003"));
    check("a URL that is not https", &with("https://", "http://"));
    // These two are unreadable even to root; that others are refused is tested below.
    check("a key file that is missing", &with("pki/gw-paint-01.key", "pki/gateway.key"));
    check("a key file that is a directory", &with("pki/gw-paint-01.key", "pki"));
    mode(0o640);
    check("a key that its group may read", RIGHT);
    mode(0o602);
    check("a key that everybody may write", RIGHT);
    mode(0o600);
    check("a certificate that does not match its key", &with("gw-paint-01.key", "gw-paint-02.key"));
    check("a CA file that holds a key", &with("pki/ca.pem", "pki/gw-paint-01.key"));
    // TEST-NET-1 (RFC 5737): no interface has it.
    check("a source address that no interface has", &with("= \"127.0.0.1\"", "= \"192.0.2.77\""));
    let both = with("gw-paint-01.key", "gw-paint-02.key").replace("= \"127.0.0.1\"", "= \"192.0.2.77\"");
    check("two at once", &both);
    assert_snapshot!(report.trim_end());
}

#[test]
fn what_this_user_may_not_read_is_not_called_missing() {
    let gateway = Gateway::new();
    gateway.command(RIGHT, &[]);
    let mode = |name: &str, mode| fs::set_permissions(gateway.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("", 0o755);
    fs::create_dir(gateway.path("buffer")).unwrap();
    mode("pki/gw-paint-01.key", 0o000);
    mode("buffer", 0o000);
    // Root may read everything, so it asks as nobody, who may not even reach the binary in every checkout.
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_lineside"));
    if root {
        // By a process of its own: a file that this one has open for writing cannot be executed (ETXTBSY).
        assert!(Command::new("cp").arg(binary).arg(gateway.path("lineside")).status().unwrap().success());
        binary = gateway.path("lineside");
        for file in ["pki/ca.pem", "pki/gw-paint-01.pem"] {
            mode(file, 0o644);
        }
    }
    let report = ["check", "status"].map(|name| {
        let mut command = Command::new(&binary);
        command.arg(name).arg("--config").arg(gateway.path("lineside.toml")).env_remove("CREDENTIALS_DIRECTORY");
        if root {
            command.uid(65_534).gid(65_534);
        }
        format!("##### lineside {name}\n{}", gateway.told(&command.output().unwrap()))
    });
    // So that it can be removed.
    mode("buffer", 0o700);
    assert_snapshot!(report.join("\n").trim_end());
}

#[test]
fn a_configuration_that_is_right_is_said_to_be() {
    let gateway = Gateway::new();
    assert_eq!(gateway.shown(RIGHT, &["check"]), "exit 0\n[DIR]/lineside.toml is fine: 1 device, 3 signals\n");
    let disabled = with("poll = \"1d\"", "enabled = false");
    assert_eq!(
        gateway.shown(&disabled, &["check"]),
        "exit 0\n[DIR]/lineside.toml is fine: 0 devices, 0 signals; nothing is read before a device is enabled\n"
    );
}

#[test]
fn every_command_refuses_a_wrong_configuration_in_the_same_words() {
    let gateway = Gateway::new();
    let wrong = with("https://", "http://");
    let check = gateway.shown(&wrong, &["check"]);
    assert!(check.starts_with("exit 78\n"));
    for arguments in [&["run"][..], &["status"], &["plan"], &["read", "press-7"]] {
        assert_eq!(gateway.shown(&wrong, arguments), check, "{arguments:?}");
    }
    let missing = told(&lineside(&["check", "--config", "/nonexistent/lineside.toml"]).output().unwrap());
    assert_snapshot!(missing);
}
