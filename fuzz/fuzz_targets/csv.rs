//! A signal list of any bytes: no panic; every finding has its place; a list that is accepted, printed and read again gives
//! the same signals.

#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use lineside_config::{Config, Device, Listing, Problems};

const HEAD: &str = r#"schema = 1
[agent]
id = "gw"
location = "a/b/c/d"
[uplink]
url = "https://ingest.example.com"
source_address = "10.20.0.5"
ca = "ca.pem"
certificate = "gw.pem"
private_key = "credential:gw.key"
[[device]]
name = "d"
protocol = "modbus-tcp"
address = "10.0.0.1:502"
signals = "list.csv"
"#;

fn check(list: &[u8]) -> Result<(Config, Listing), Problems> {
    let files = |_: &Path, most: u64| {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(list[..list.len().min(most)].to_vec())
    };
    lineside_config::parse_with(HEAD, Path::new("/etc/lineside/lineside.toml"), &files)
}

fuzz_target!(|list: &[u8]| -> Corpus {
    if list.len() > 16 << 10 {
        return Corpus::Reject;
    }
    match check(list) {
        Ok((config, listing)) => {
            let printed = listing.csv(&["d"], false);
            let (again, _) = check(printed.as_bytes()).unwrap_or_else(|e| panic!("{printed}\n{}", e.render(false)));
            let signals = |config: &Config| {
                let Device::Modbus(device) = &config.devices[0];
                format!("{:?}", device.signals)
            };
            assert_eq!(signals(&config), signals(&again), "{printed}");
        }
        Err(problems) => {
            assert!(!problems.list.is_empty() && problems.list.len() <= lineside_config::MAX_PROBLEMS);
            let said = problems.render(false);
            assert!(!said.contains('\x1b'), "an escape of the list reaches the terminal");
            assert!(!said.contains("report this as a defect"), "{said}");
        }
    }
    Corpus::Keep
});
