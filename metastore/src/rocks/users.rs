//! Users: written whole, looked up by id, access key or email.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store};
use super::tables::{ACCESS_KEYS, USER_EMAILS, USERS};
use crate::{MetaError, MetaResult, User, UserName};

impl Engine {
    pub(super) async fn put_user(&self, user: User) -> MetaResult<()> {
        let held = vec![self.locks.users().await];
        let batch = self.look(move |reader| reader.user_change(&user)).await?;
        self.commit(batch, held).await
    }

    pub(super) async fn delete_user(&self, id: &str) -> MetaResult<()> {
        let held = vec![self.locks.users().await];
        let user = self.get(USERS, id.into()).await?;
        let user = user.ok_or(MetaError::NoSuchUser)?;
        let mut batch = Batch::default();
        batch.unname(&user);
        batch.delete(USERS, user.id.into());
        self.commit(batch, held).await
    }

    pub(super) async fn user(&self, name: UserName<'_>) -> MetaResult<User> {
        let id = match name {
            UserName::Id(id) => Some(id.to_owned()),
            UserName::AccessKey(key) => self.get(ACCESS_KEYS, key.into()).await?,
            UserName::Email(email) => self.get(USER_EMAILS, email.into()).await?,
        };
        let id = id.ok_or(MetaError::NoSuchUser)?;
        let user = self.get(USERS, id.into()).await?;
        user.ok_or(MetaError::NoSuchUser)
    }
}

impl Reader<'_> {
    /// The commit that writes a user over what stands under its id.
    fn user_change(&self, user: &User) -> Looked<Batch> {
        let is_anothers = |id: Option<String>| id.is_some_and(|id| id != user.id);
        for key in &user.keys {
            if is_anothers(self.get(ACCESS_KEYS, key.access_key.as_bytes())?) {
                return Err(MetaError::NameTaken(key.access_key.clone()).into());
            }
        }
        if let Some(email) = &user.email
            && is_anothers(self.get(USER_EMAILS, email.as_bytes())?)
        {
            return Err(MetaError::NameTaken(email.clone()).into());
        }
        let mut batch = Batch::default();
        if let Some(replaced) = self.get(USERS, user.id.as_bytes())? {
            batch.unname(&replaced);
        }
        for key in &user.keys {
            batch.put(ACCESS_KEYS, key.access_key.as_str().into(), &user.id);
        }
        if let Some(email) = &user.email {
            batch.put(USER_EMAILS, email.as_str().into(), &user.id);
        }
        batch.put(USERS, user.id.as_str().into(), user);
        Ok(batch)
    }
}

impl Batch {
    /// Takes the names off a user.
    fn unname(&mut self, user: &User) {
        for key in &user.keys {
            self.delete(ACCESS_KEYS, key.access_key.as_str().into());
        }
        if let Some(email) = &user.email {
            self.delete(USER_EMAILS, email.as_str().into());
        }
    }
}

impl Store {
    pub(super) fn list_users(&self, after: Option<&str>, limit: usize) -> MetaResult<Vec<User>> {
        let start = after.map(|id| keys::behind(id.into())).unwrap_or_default();
        let found = self.range(USERS, start, keys::past(&[]), limit)?;
        Ok(found.into_iter().map(|(_, user)| user).collect())
    }
}
