//! `gateway admin user`.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::link::{AdminError, Link};
use super::say;
use crate::admin::user_orders::{MadeKey, NewUser, ShownUser};
use crate::config::{OneUser, UserCommand};

/// Does what the command says, and prints the answer.
pub async fn run(command: UserCommand) -> Result<(), AdminError> {
    match command {
        UserCommand::Create(create) => {
            let new = NewUser {
                display_name: create.display_name,
                email: create.email,
            };
            let link = Link::new(&create.link)?;
            say(&made(&link.order_answered("users", &new).await?))
        }
        UserCommand::List(list) => {
            let users: Vec<ShownUser> = Link::new(&list.link)?.ask("users").await?;
            say(&users.iter().map(shown).collect::<String>())
        }
        UserCommand::Show(one) => {
            let user: ShownUser = Link::new(&one.link)?.ask(&path(&one, "")).await?;
            say(&shown(&user))
        }
        UserCommand::Rotate(one) => {
            let link = Link::new(&one.link)?;
            say(&made(
                &link.order_answered(&path(&one, "/rotate"), &()).await?,
            ))
        }
        UserCommand::Disable(one) => order(&one, "disable").await,
        UserCommand::Enable(one) => order(&one, "enable").await,
        UserCommand::Delete(one) => order(&one, "delete").await,
    }
}

async fn order(one: &OneUser, word: &str) -> Result<(), AdminError> {
    let link = Link::new(&one.link)?;
    link.order(&path(one, &format!("/{word}")), &()).await?;
    say("Done.\n")
}

fn path(one: &OneUser, rest: &str) -> String {
    format!(
        "users/{}{rest}",
        utf8_percent_encode(&one.id, NON_ALPHANUMERIC)
    )
}

fn made(key: &MadeKey) -> String {
    format!(
        "id          {}\naccess key  {}\nsecret key  {}\n",
        key.id, key.access_key, key.secret_key
    )
}

fn shown(user: &ShownUser) -> String {
    let mut line = format!("{}  {}", user.id, user.display_name);
    if let Some(email) = &user.email {
        let _ = write!(line, "  <{email}>");
    }
    let _ = write!(line, "  {}", user.access_keys.join(", "));
    if user.disabled {
        line.push_str("  disabled");
    }
    line.push('\n');
    line
}
