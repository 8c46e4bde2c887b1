//! The header that ties a request to the cloud's traces. The agent keeps no traces of its own.

/// A `traceparent` (W3C Trace Context level 1, 3.2.2) of a new, sampled trace. All-zero ids are invalid there, and
/// become 1.
#[must_use]
pub fn traceparent(trace: u128, span: u64) -> String {
    format!("00-{:032x}-{:016x}-01", trace.max(1), span.max(1))
}

/// A `traceparent` with ids from the kernel's random numbers.
///
/// # Errors
/// Where the kernel has none to give, which a booted Linux has not been seen to do.
pub fn new_traceparent() -> Result<String, getrandom::Error> {
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    getrandom::fill(&mut trace)?;
    getrandom::fill(&mut span)?;
    Ok(traceparent(u128::from_ne_bytes(trace), u64::from_ne_bytes(span)))
}

/// The trace's id in it, which the request also bears as `x-request-id`: gateways log that header, and few log the other.
#[must_use]
pub fn request_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or(traceparent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_form_of_the_recommendation() {
        let example = traceparent(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(example, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(request_id(&example), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(traceparent(0, 0), "00-00000000000000000000000000000001-0000000000000001-01");
    }

    #[test]
    fn each_is_new() {
        assert_ne!(new_traceparent().unwrap(), new_traceparent().unwrap());
    }
}
