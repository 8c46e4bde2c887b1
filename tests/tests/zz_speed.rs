mod testbed_support;
use testbed_support::*;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed() {
    let bench = Bench::with(|o| o.max_bytes = 16 << 20);
    bench.put_catalogue().await;
    let n: u64 = 60;
    let per = 4096u64;
    let mut bodies = Vec::new();
    for kind in [0, 2] {
        for r in 0..15u64 {
            let first = (bodies.len() as u64) * n * per + 1;
            let lines: Vec<String> = (0..n).map(|b| {
                let t: Vec<u64> = (0..per).collect();
                let v: Vec<String> = (0..per).map(|i| if kind == 0 { format!("{}", ((i * 7 + b + r) % 1000) as f32 / 10.0) } else { ((i * 7919 + b) % 65536).to_string() }).collect();
                readings(first + b * per, per, &format!(r#"[{{"signals":[[{kind},{kind}]],"t":{t:?},"v":[{}]}}]"#, v.join(",")))
            }).collect();
            bodies.push((kind, zstd(&lines), first, first + n * per - 1));
        }
    }
    for kind in [0, 2] {
        let start = std::time::Instant::now();
        let mut count = 0;
        let mut bytes = 0;
        for (_, body, first, last) in bodies.iter().filter(|b| b.0 == kind) {
            bytes += body.len();
            let r = bench.raw_batch(body.clone(), key("readings", *first, *last)).send().await.unwrap();
            assert_eq!(r.status(), 200);
            count += last - first + 1;
        }
        let s = start.elapsed().as_secs_f64();
        eprintln!("kind {kind}: {:.0} readings/s, {:.0} ns each, {bytes} bytes", count as f64 / s, s / count as f64 * 1e9);
    }
    let start = std::time::Instant::now();
    let c = bench.ingest.store().readings(None).unwrap().count();
    eprintln!("decode {:.0} ns each", start.elapsed().as_secs_f64() / c as f64 * 1e9);
    let (_, body, first, last) = &bodies[0];
    let start = std::time::Instant::now();
    bench.raw_batch(body.clone(), key("readings", *first, *last)).send().await.unwrap();
    eprintln!("dup {:.0} ns each", start.elapsed().as_secs_f64() / (last - first) as f64 * 1e9);
}
