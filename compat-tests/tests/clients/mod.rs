//! What people do with the clients they have; the same on every set-up. The test that includes this
//! says in `start_server` which one that is.

mod aws_cli;
mod boto3;
mod rclone;
mod s3cmd;
mod sdk;
