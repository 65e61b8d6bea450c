//! `gateway admin master-key`.

use super::link::{AdminError, Link};
use super::say;
use crate::config::{KeyDirectory, MasterKeyCommand};
use crate::keys;
use crate::rotation::Rotation;

/// Does what the command says, and prints what is left to do.
pub async fn run(command: MasterKeyCommand) -> Result<(), AdminError> {
    match command {
        MasterKeyCommand::Rotate(directory) => rotate(&directory),
        MasterKeyCommand::Reseal(reseal) => {
            let link = Link::new(&reseal.link)?;
            say(&shown(
                &link.order_of_hours("master-key/reseal", &()).await?,
            ))
        }
    }
}

fn rotate(directory: &KeyDirectory) -> Result<(), AdminError> {
    let (file, count) = keys::add_master_key(&directory.path())?;
    say(&format!(
        "{} has a new first line, and {count} keys. Copy it to where you keep keys, restart the gateway, \
         then: gateway admin master-key reseal\n",
        file.display()
    ))
}

fn shown(done: &Rotation) -> String {
    let mut text = format!(
        "{} secrets of users and the keys of {} objects were sealed anew.\n",
        done.secrets, done.objects
    );
    if done.unopened > 0 {
        text.push_str(&format!(
            "{} are sealed under a key that is not there: find it, add its line, restart, and do this again.\n",
            done.unopened
        ));
    }
    if done.is_complete() {
        text.push_str(
            "The metadata no longer needs the earlier master keys. Keep them with your backups: those, and \
             what rebuild-metadata reads from chunks, still need them.\n",
        );
    } else {
        text.push_str(&format!(
            "{} uploads under way and {} objects still need an earlier master key: do this again when \
             they have ended.\n",
            done.uploads_left, done.busy
        ));
    }
    text
}
