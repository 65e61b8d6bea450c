//! The command line of `gateway admin user`.

use clap::{Args, Subcommand};

use super::admin::{GatewayLink, LinkCommand};

/// Commands on users.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Create a user and show its keys; the secret key is never shown again
    Create(CreateUserCommand),
    /// Show all users
    List(LinkCommand),
    /// Show one user
    Show(OneUser),
    /// Disable a user: requests signed with its keys are rejected until it is enabled
    Disable(OneUser),
    /// Enable a disabled user
    Enable(OneUser),
    /// Delete a user; its buckets and objects stay
    Delete(OneUser),
    /// Replace all keys of a user by a new one; its secret key is never shown again
    Rotate(OneUser),
}

/// Settings of `gateway admin user create`.
#[derive(Debug, Clone, Args)]
pub struct CreateUserCommand {
    /// Display name, shown wherever S3 names an owner
    #[arg(value_name = "NAME")]
    pub display_name: String,
    /// Email address, by which ACL grants may name the user
    #[arg(long, value_name = "EMAIL")]
    pub email: Option<String>,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// A command about one user.
#[derive(Debug, Clone, Args)]
pub struct OneUser {
    /// Its canonical id
    #[arg(value_name = "ID")]
    pub id: String,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}
