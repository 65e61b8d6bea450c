//! The command line of `gateway admin user`.

use clap::{Args, Subcommand};

use super::admin::{GatewayLink, LinkCommand};

/// What is wanted of users.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Create a user and show its keys; the secret key is shown this once
    Create(CreateUserCommand),
    /// Show all users
    List(LinkCommand),
    /// Show one user
    Show(OneUser),
    /// Refuse what a user signs, until it is enabled
    Disable(OneUser),
    /// Accept what a disabled user signs
    Enable(OneUser),
    /// Delete a user; what it owns stays
    Delete(OneUser),
    /// Give a user a new key in place of all others, and show it this once
    Rotate(OneUser),
}

/// Settings of `gateway admin user create`.
#[derive(Debug, Clone, Args)]
pub struct CreateUserCommand {
    /// The name that owner fields show
    #[arg(value_name = "NAME")]
    pub display_name: String,
    /// An email by which grants may name the user
    #[arg(long, value_name = "EMAIL")]
    pub email: Option<String>,
    /// The gateway that is asked.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// A command about one user.
#[derive(Debug, Clone, Args)]
pub struct OneUser {
    /// Its canonical id
    #[arg(value_name = "ID")]
    pub id: String,
    /// The gateway that is asked.
    #[command(flatten)]
    pub link: GatewayLink,
}
