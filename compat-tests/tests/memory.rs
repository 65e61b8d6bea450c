//! The gateway's memory does not grow with objects or clients: a short run of the measurement in
//! `scripts/measure-memory.sh`.

use compat_tests::{ClientHome, Endpoint, own_source, server_program};

#[tokio::test]
async fn eight_uploads_and_downloads_at_a_time_stay_under_the_limit() {
    let nowhere = Endpoint::with_test_keys("http://127.0.0.1:0");
    let home = ClientHome::new(&nowhere);
    let script = own_source("../scripts/measure-memory.sh");
    let programs = server_program("gateway");
    let programs = programs.parent().expect("the program is in a directory");
    let dir = format!("DIR={}", home.path("").display());
    let settings = ["COUNT=8", "SIZE=64MiB", dir.as_str()];
    let mut arguments = settings.map(String::from).to_vec();
    arguments.push(script.display().to_string());
    arguments.push(programs.display().to_string());
    let table = home.run("env", &arguments).await;
    println!("{table}");
    assert_eq!(table.matches("MiB\n").count(), 6, "{table}");
}
