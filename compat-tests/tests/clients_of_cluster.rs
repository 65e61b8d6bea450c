//! Real clients against `gateway serve` over six chunk servers.

mod clients;

use compat_tests::Cluster as TestServer;

async fn start_server() -> TestServer {
    TestServer::start(6, 1).await
}
