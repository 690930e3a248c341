//! The operator's commands on a DynamoDB engine. This test shows that DynamoDB accepts the updates. `test_operate.py`
//! tests everything else about the commands with a fake of DynamoDB. The fake cannot show that DynamoDB accepts an
//! update.

use crate::function::tool;
use dynoxide::Database;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tokio::net::TcpListener;

struct Operator(BTreeMap<&'static str, String>);

impl Operator {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(
            listener,
            Database::memory().unwrap(),
        ));
        let aws = tool("OTP_E2E_AWS");
        let path = format!(
            "{}:/usr/bin:/bin",
            Path::new(&aws).parent().unwrap().display()
        );
        let operator = Self(BTreeMap::from([
            ("PATH", path),
            ("TABLE", "Ledger".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "example".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
        ]));
        operator.run(
            "aws",
            &[
                "dynamodb",
                "create-table",
                "--table-name",
                "Ledger",
                "--billing-mode",
                "PAY_PER_REQUEST",
            ],
            &[
                "--attribute-definitions=AttributeName=pk,AttributeType=S",
                "--key-schema=AttributeName=pk,KeyType=HASH",
            ],
        );
        operator.run(
            "aws",
            &["dynamodb", "wait", "table-exists", "--table-name", "Ledger"],
            &[],
        );
        operator
    }

    fn run(&self, program: &str, arguments: &[&str], more: &[&str]) -> String {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(more)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .envs(&self.0);
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn make(&self, arguments: &[&str]) -> String {
        self.run("make", &["--silent"], arguments)
    }

    fn switches(&self) -> Value {
        let item = self.run(
            "aws",
            &[
                "dynamodb",
                "get-item",
                "--table-name",
                "Ledger",
                "--output",
                "json",
            ],
            &[r#"--key={"pk":{"S":"K#switches"}}"#, "--query=Item"],
        );
        serde_json::from_str(&item).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn commands_write_the_switches_to_dynamodb() {
    let operator = Operator::new().await;
    operator.make(&["pause"]);
    operator.make(&["block", "PREFIX=+1876"]);
    operator.make(&["block", "PREFIX=+1876555"]);
    operator.make(&["allow", "PREFIX=+1876556"]);
    assert!(
        operator
            .make(&["block", "PREFIX=+1876"])
            .starts_with("No change. ")
    );
    let key = json!({ "S": "K#switches" });
    let allow = json!({ "SS": ["+1876556"] });
    let switches = operator.switches();
    let block: Vec<&Value> = switches["block"]["SS"].as_array().unwrap().iter().collect();
    assert!(
        block.len() == 2 && block.contains(&&json!("+1876")) && block.contains(&&json!("+1876555")),
        "{switches}"
    );
    assert_eq!(
        switches,
        json!({ "pk": key, "paused": { "BOOL": true }, "block": switches["block"], "allow": allow })
    );

    operator.make(&["resume"]);
    operator.make(&["unblock", "PREFIX=+1876"]);
    operator.make(&["unblock", "PREFIX=+1876555"]);
    assert!(
        operator
            .make(&["unblock", "PREFIX=+1876555"])
            .starts_with("No change. ")
    );
    assert_eq!(
        operator.switches(),
        json!({ "pk": key, "paused": { "BOOL": false }, "allow": allow })
    );
    operator.make(&["disallow", "PREFIX=+1876556"]);
    assert_eq!(
        operator.switches(),
        json!({ "pk": key, "paused": { "BOOL": false } })
    );
}
