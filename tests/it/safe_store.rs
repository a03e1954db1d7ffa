//! Records of the SafeStore, opened by PyPI joserfc.

use std::io::Write as _;
use std::process::Stdio;

use gatepost::decide::api_key::format::RandomFault;
use gatepost::issue::safe_store::{Context, Owner, Pepper, Peppers, Share, rewrap, seal};
use serde_json::{Value, json};

use crate::support::python;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What joserfc makes of a record.
fn opened(request: &Value) -> Value {
    let mut command = python("open_sealed.py");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "joserfc: run `make .venv/.installed` if it is not there");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn contract_safe_store_an_independent_library_opens_its_records() {
    let pepper = |seed: u8| (0..32).map(|n: u8| n.wrapping_mul(7).wrapping_add(seed)).collect();
    let peppers: [Vec<u8>; 2] = [pepper(1), pepper(2)];
    let ring = |active| {
        let all = ["p1", "p2"].iter().zip(&peppers);
        Peppers::new(all.map(|(id, bytes)| Pepper::new(id, bytes).unwrap()), active).unwrap()
    };
    let mut fill = |bytes: &mut [u8]| -> Result<(), RandomFault> {
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
        Ok(())
    };
    let share_bytes: Vec<u8> = (0..32).collect();
    // Dots and quotes in the owner's id.
    let owner = r#"auth0|a.b"é"#;
    let share = Share::generate(Owner::new(owner).unwrap(), 3, &mut fill).unwrap();
    let context = Context::new("secrets", "sealed", "sec_1").unwrap();
    let secrets: [&[u8]; 3] = [b"", b"gp_cs_1", &[0xa5; 4000]];
    for secret in secrets {
        let first = seal(&ring("p1"), &share, &context, secret, &mut fill).unwrap();
        let rotated = rewrap(&ring("p2"), &share, &share, &context, &first).unwrap();
        for (record, at, active) in [(first, 0, "p1"), (rotated, 1, "p2")] {
            let request = json!({
                "pepper": hex(&peppers[at]), "share": hex(&share_bytes), "pepper_id": active,
                "owner": owner, "version": 3, "record": record.0,
                "wrapped": share.wrap(&ring(active)).unwrap().wrapped,
            });
            let opened = opened(&request);
            assert_eq!(opened["plaintext"], hex(secret));
            assert_eq!(opened["share"], hex(&share_bytes));
            assert_eq!(opened["header"]["alg"], "A256KW");
            assert_eq!(opened["header"]["enc"], "A256CBC-HS512");
            assert_eq!(opened["header"]["kid"], format!("{active}.{owner}.3"));
            assert_eq!(opened["header"]["ctx"], "secrets/sealed/sec_1");
        }
    }
}
