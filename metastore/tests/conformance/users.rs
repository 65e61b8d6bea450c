//! Users: their names are theirs alone.

use metastore::{AccessKey, MetaError, User, UserName};

use crate::fixtures::Store;
use crate::on_every_store;

on_every_store!(
    a_user_is_found_by_each_of_its_names,
    a_name_belongs_to_one_user,
    a_name_that_was_given_up_is_free,
    users_are_listed_in_order,
);

fn user(id: &str, access_key: &str, email: &str) -> User {
    User {
        id: id.into(),
        display_name: format!("User {id}"),
        email: Some(email.into()),
        keys: vec![AccessKey {
            access_key: access_key.into(),
            secret_key: "secret".into(),
        }],
    }
}

async fn a_user_is_found_by_each_of_its_names(store: Store) {
    let alice = user("1", "AKA", "a@example.com");
    store.put_user(alice.clone()).await.unwrap();
    for name in [
        UserName::Id("1"),
        UserName::AccessKey("AKA"),
        UserName::Email("a@example.com"),
    ] {
        assert_eq!(store.user(name).await.unwrap(), alice, "{name:?}");
    }
    let other = store.user(UserName::AccessKey("AKB")).await;
    assert!(matches!(other, Err(MetaError::NoSuchUser)));
}

async fn a_name_belongs_to_one_user(store: Store) {
    store.put_user(user("1", "AKA", "a@x")).await.unwrap();
    for taken in [user("2", "AKA", "b@x"), user("2", "AKB", "a@x")] {
        let refused = store.put_user(taken).await;
        assert!(matches!(refused, Err(MetaError::NameTaken(_))));
    }
    assert!(store.user(UserName::Id("2")).await.is_err());
}

async fn a_name_that_was_given_up_is_free(store: Store) {
    store.put_user(user("1", "AKA", "a@x")).await.unwrap();
    store.put_user(user("1", "AKB", "b@x")).await.unwrap();
    assert!(store.user(UserName::AccessKey("AKA")).await.is_err());
    store.put_user(user("2", "AKA", "a@x")).await.unwrap();
    store.delete_user("1").await.unwrap();
    assert!(store.user(UserName::Email("b@x")).await.is_err());
    assert!(matches!(
        store.delete_user("1").await,
        Err(MetaError::NoSuchUser)
    ));
}

async fn users_are_listed_in_order(store: Store) {
    for id in ["3", "1", "2"] {
        let key = format!("AK{id}");
        store.put_user(user(id, &key, &key)).await.unwrap();
    }
    let ids = |users: Vec<User>| users.into_iter().map(|user| user.id).collect::<Vec<_>>();
    assert_eq!(ids(store.list_users(None, 2).await.unwrap()), ["1", "2"]);
    assert_eq!(ids(store.list_users(Some("2"), 9).await.unwrap()), ["3"]);
}
