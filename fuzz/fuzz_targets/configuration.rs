//! No text makes the configuration's parser panic; what it finds has a place in the text; what it accepts can be planned.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use lineside_config::Device;
use lineside_protocols::modbus::plan::plan;

fuzz_target!(|text: &str| -> Corpus {
    // What is found is told with the line around it: a long text costs time and finds nothing more.
    if text.len() > 16 << 10 {
        return Corpus::Reject;
    }
    match lineside_fuzz::check(text) {
        Ok(config) => {
            for device in &config.devices {
                let Device::Modbus(device) = device;
                assert!(!device.signals.is_empty());
                assert!(plan(device).requests_per_second().is_finite());
            }
        }
        Err(problems) => {
            assert!(!problems.list.is_empty() && problems.list.len() <= lineside_config::MAX_PROBLEMS);
            let lines = text.lines().count().max(1) + 1;
            for problem in &problems.list {
                assert!(problem.place.as_ref().is_none_or(|place| (1..=lines).contains(&place.line)), "{problem}");
            }
            let said = problems.render(false);
            assert!(!said.contains('\x1b'), "an escape of the file reaches the terminal");
            assert!(!said.contains("report this as a defect"), "{said}");
        }
    }
    Corpus::Keep
});
