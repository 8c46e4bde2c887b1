//! Certificates that are renewed under load, through nginx, which revokes the one before.

use std::fs;

use lineside_testbed::pki::{Pair, Subject, Validity};

use super::{Behind, Settings};
use crate::stage::{caught_up, check_nothing_given_up, finish, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_renewed_again_and_again_and_the_one_before_revoked() {
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let behind = Behind::new(settings).await;
        let (site, nginx) = (&behind.site, &behind.nginx);
        let rounds = rounds(2);
        let mut revoked = Vec::new();
        for round in 1..=rounds {
            let before = site.directory.path().join(format!("before-{round}.pem"));
            fs::copy(&site.client.certificate, &before).unwrap();
            let name = format!("gw-test-{round}");
            site.pki.issue("gw-test", Subject::Client(&name), Validity::Now).unwrap();
            let subject = format!("SUCCESS \"CN={name}\"");
            let used = || nginx.answered(200).iter().any(|line| line.contains(" POST ") && line.contains(&subject));
            behind.daemon.until("the new certificate in use", |_| used()).await;
            revoked.push(Pair { certificate: before, key: site.client.key.clone() });
            site.pki.revoke(&revoked.iter().collect::<Vec<_>>()).unwrap();
            nginx.reload(settings);
            caught_up(&behind.daemon).await;
        }
        let name = if http2 { "nginx-rotation-http2" } else { "nginx-rotation-http1" };
        check_nothing_given_up(&finish(&behind.site, behind.daemon, name, rounds));
    }
}
