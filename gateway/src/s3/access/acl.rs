//! Access control lists as clients write and read them: canned, by `x-amz-grant-*`, or as a
//! document; and back.

use http::HeaderMap;
use metastore::{Acl, Grant, Grantee, Permission, UserName};
use s3s::dto::{self, AccessControlPolicy, Owner, Type};
use s3s::{S3Result, s3_error};

use super::caller::Directory;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// Most grants in one list. Source: S3 user guide, "Access control list (ACL) overview".
const GRANTS_MAX: usize = 100;

const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-full-control", Permission::FullControl),
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
];

/// Whom a new list is for.
pub struct AclRequest<'a> {
    /// Where users are looked up.
    pub directory: &'a Directory,
    /// Canonical id of the owner of what the list is on.
    pub owner: &'a str,
    /// Canonical id of the bucket's owner.
    pub bucket_owner: &'a str,
}

impl AclRequest<'_> {
    /// The list that the headers of a request ask for; none where they say nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown canned list, grantee or user; `InvalidRequest` for a canned
    /// list beside grants.
    pub async fn in_headers(&self, headers: &HeaderMap) -> S3Result<Option<Acl>> {
        let given = |name: &str| {
            let value = headers.get(name).filter(|value| !value.is_empty());
            value.map(|value| value.to_str().unwrap_or("?"))
        };
        let canned = given("x-amz-acl");
        let mut grants = Vec::new();
        for (name, permission) in GRANT_HEADERS {
            for grantee in given(name).unwrap_or_default().split(',') {
                if !grantee.trim().is_empty() {
                    let grantee = self.grantee_in_header(grantee.trim()).await?;
                    grants.push(Grant {
                        grantee,
                        permission,
                    });
                }
            }
        }
        match canned {
            Some(_) if !grants.is_empty() => Err(s3_error!(
                InvalidRequest,
                "Specifying both Canned ACLs and Header Grants is not allowed"
            )),
            Some(canned) => {
                let grants = canned_grants(canned, self.owner, self.bucket_owner)?;
                Ok(Some(Acl { grants }))
            }
            None if grants.is_empty() => Ok(None),
            None => Ok(Some(Acl { grants })),
        }
    }

    /// The list that a document describes.
    ///
    /// # Errors
    /// `MalformedACLError`; `InvalidArgument` for an unknown grantee; `UnresolvableGrantByEmailAddress`;
    /// `AccessDenied` for another owner.
    pub async fn in_document(&self, policy: AccessControlPolicy) -> S3Result<Acl> {
        let owner = policy.owner.and_then(|owner| owner.id);
        if owner.is_some_and(|owner| owner != self.owner) {
            return Err(s3_error!(AccessDenied));
        }
        let listed = policy.grants.unwrap_or_default();
        if listed.len() > GRANTS_MAX {
            return Err(s3_error!(MalformedACLError));
        }
        let mut grants = Vec::with_capacity(listed.len());
        for grant in listed {
            let (Some(grantee), Some(permission)) = (grant.grantee, grant.permission) else {
                return Err(s3_error!(MalformedACLError));
            };
            grants.push(Grant {
                grantee: self.grantee_in_document(grantee).await?,
                permission: permission_of(permission.as_str())?,
            });
        }
        Ok(Acl { grants })
    }

    async fn grantee_in_header(&self, text: &str) -> S3Result<Grantee> {
        let (kind, value) = text
            .split_once('=')
            .ok_or_else(|| s3_error!(InvalidArgument, "Argument format not recognized"))?;
        let value = value.trim().trim_matches('"');
        match kind.trim().to_ascii_lowercase().as_str() {
            "id" => self.user(value).await,
            "uri" => group(value),
            "emailaddress" => self.user_by_email(value).await,
            _ => Err(s3_error!(InvalidArgument, "Argument format not recognized")),
        }
    }

    async fn grantee_in_document(&self, grantee: dto::Grantee) -> S3Result<Grantee> {
        match (
            grantee.type_.as_str(),
            grantee.id,
            grantee.uri,
            grantee.email_address,
        ) {
            (Type::CANONICAL_USER, Some(id), ..) => self.user(&id).await,
            (Type::GROUP, _, Some(uri), _) => group(&uri),
            (Type::AMAZON_CUSTOMER_BY_EMAIL, _, _, Some(email)) => self.user_by_email(&email).await,
            _ => Err(s3_error!(MalformedACLError)),
        }
    }

    async fn user(&self, id: &str) -> S3Result<Grantee> {
        match self.directory.knows(id).await? {
            true => Ok(Grantee::User(id.to_owned())),
            false => Err(s3_error!(InvalidArgument, "Invalid id")),
        }
    }

    async fn user_by_email(&self, email: &str) -> S3Result<Grantee> {
        match self.directory.user(UserName::Email(email)).await? {
            Some(user) => Ok(Grantee::User(user.id)),
            None => Err(s3_error!(UnresolvableGrantByEmailAddress)),
        }
    }
}

/// The grants of a canned list.
///
/// # Errors
/// `InvalidArgument` for an unknown one.
pub fn canned_grants(canned: &str, owner: &str, bucket_owner: &str) -> S3Result<Vec<Grant>> {
    let grant = |grantee, permission| Grant {
        grantee,
        permission,
    };
    let mut grants = vec![grant(
        Grantee::User(owner.to_owned()),
        Permission::FullControl,
    )];
    match canned {
        "private" | "aws-exec-read" => {}
        "public-read" => grants.push(grant(Grantee::AllUsers, Permission::Read)),
        "public-read-write" => {
            grants.push(grant(Grantee::AllUsers, Permission::Read));
            grants.push(grant(Grantee::AllUsers, Permission::Write));
        }
        "authenticated-read" => grants.push(grant(Grantee::AuthenticatedUsers, Permission::Read)),
        "bucket-owner-read" | "bucket-owner-full-control" if owner == bucket_owner => {}
        "bucket-owner-read" => {
            grants.push(grant(
                Grantee::User(bucket_owner.to_owned()),
                Permission::Read,
            ));
        }
        "bucket-owner-full-control" => grants.push(grant(
            Grantee::User(bucket_owner.to_owned()),
            Permission::FullControl,
        )),
        "log-delivery-write" => {
            grants.push(grant(Grantee::LogDelivery, Permission::Write));
            grants.push(grant(Grantee::LogDelivery, Permission::ReadAcp));
        }
        _ => return Err(s3_error!(InvalidArgument)),
    }
    Ok(grants)
}

/// Whether a list grants anything to everybody.
pub fn grants_public(acl: &Acl) -> bool {
    acl.grants.iter().any(|grant| {
        matches!(
            grant.grantee,
            Grantee::AllUsers | Grantee::AuthenticatedUsers
        )
    })
}

/// A list as S3's documents show it; without one, the owner has full control.
pub async fn to_dto_grants(
    directory: &Directory,
    acl: Option<&Acl>,
    owner: &Owner,
) -> S3Result<Vec<dto::Grant>> {
    let own = || Grant {
        grantee: Grantee::User(owner.id.clone().unwrap_or_default()),
        permission: Permission::FullControl,
    };
    let grants = acl.map_or_else(|| vec![own()], |acl| acl.grants.clone());
    // Groups stand first, as clients that compare lists expect.
    let (users, mut grants): (Vec<_>, Vec<_>) = grants
        .into_iter()
        .partition(|grant| matches!(grant.grantee, Grantee::User(_)));
    grants.extend(users);
    let mut shown = Vec::with_capacity(grants.len());
    for grant in grants {
        let mut grantee = dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: Type::from_static(Type::GROUP),
            uri: None,
        };
        match &grant.grantee {
            Grantee::User(id) => {
                let user = directory.owner(id).await?;
                grantee.type_ = Type::from_static(Type::CANONICAL_USER);
                grantee.id = user.id;
                grantee.display_name = user.display_name;
            }
            Grantee::AllUsers => grantee.uri = Some(ALL_USERS.to_owned()),
            Grantee::AuthenticatedUsers => grantee.uri = Some(AUTHENTICATED_USERS.to_owned()),
            Grantee::LogDelivery => grantee.uri = Some(LOG_DELIVERY.to_owned()),
        }
        shown.push(dto::Grant {
            grantee: Some(grantee),
            permission: Some(dto::Permission::from_static(permission_name(
                grant.permission,
            ))),
        });
    }
    Ok(shown)
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Ok(Grantee::LogDelivery),
        _ => Err(s3_error!(InvalidArgument, "Invalid group uri")),
    }
}

fn permission_of(name: &str) -> S3Result<Permission> {
    Ok(match name {
        "READ" => Permission::Read,
        "WRITE" => Permission::Write,
        "READ_ACP" => Permission::ReadAcp,
        "WRITE_ACP" => Permission::WriteAcp,
        "FULL_CONTROL" => Permission::FullControl,
        _ => return Err(s3_error!(MalformedACLError)),
    })
}

const fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "READ",
        Permission::Write => "WRITE",
        Permission::ReadAcp => "READ_ACP",
        Permission::WriteAcp => "WRITE_ACP",
        Permission::FullControl => "FULL_CONTROL",
    }
}
