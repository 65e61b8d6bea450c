"""Buckets: what they are made with, and the configurations that they keep."""

import unittest
import uuid

from server import BucketCase


class Making(BucketCase):
    def setUp(self):
        super().setUp()
        self.new = "b" + uuid.uuid4().hex

    def test_a_bucket_is_made_with_its_tags(self):
        tags = [{"Key": "team", "Value": "ü +"}]
        self.s3.create_bucket(Bucket=self.new, CreateBucketConfiguration={"Tags": tags})
        self.assertEqual(self.s3.get_bucket_tagging(Bucket=self.new)["TagSet"], tags)

    def test_a_bucket_with_too_many_tags_is_not_made(self):
        tags = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
        with self.assertRaises(self.s3.exceptions.ClientError):
            self.s3.create_bucket(Bucket=self.new, CreateBucketConfiguration={"Tags": tags})
        self.refused(404, "404", self.s3.head_bucket, Bucket=self.new)

    def test_enforced_ownership_goes_with_a_private_list_alone(self):
        enforced = {"Bucket": self.new, "ObjectOwnership": "BucketOwnerEnforced"}
        self.refused(400, "InvalidBucketAclWithObjectOwnership", self.s3.create_bucket,
                     ACL="public-read", **enforced)
        self.s3.create_bucket(ACL="private", **enforced)
        kept = self.s3.get_bucket_ownership_controls(Bucket=self.new)["OwnershipControls"]
        self.assertEqual(kept["Rules"], [{"ObjectOwnership": "BucketOwnerEnforced"}])

    def test_a_bucket_for_another_region_is_refused_as_such(self):
        for region, code in [("eu-central-1", "IllegalLocationConstraintException"),
                             ("nowhere", "InvalidLocationConstraint")]:
            self.refused(400, code, self.s3.create_bucket, Bucket=self.new,
                         CreateBucketConfiguration={"LocationConstraint": region})
            self.refused(404, "404", self.s3.head_bucket, Bucket=self.new)


class Configurations(BucketCase):
    def test_a_website_comes_back_as_it_was_put(self):
        of_bucket = {"Bucket": self.bucket}
        self.refused(404, "NoSuchWebsiteConfiguration", self.s3.get_bucket_website, **of_bucket)
        website = {
            "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"},
            "RoutingRules": [{"Condition": {"KeyPrefixEquals": "a/"},
                              "Redirect": {"ReplaceKeyPrefixWith": "b/"}}]}
        self.s3.put_bucket_website(WebsiteConfiguration=website, **of_bucket)
        kept = self.s3.get_bucket_website(**of_bucket)
        self.assertEqual({name: kept[name] for name in website}, website)
        self.s3.delete_bucket_website(**of_bucket)
        self.refused(404, "NoSuchWebsiteConfiguration", self.s3.get_bucket_website, **of_bucket)

    def test_who_pays_comes_back_as_it_was_put(self):
        of_bucket = {"Bucket": self.bucket}
        self.assertEqual(self.s3.get_bucket_request_payment(**of_bucket)["Payer"], "BucketOwner")
        self.s3.put_bucket_request_payment(
            RequestPaymentConfiguration={"Payer": "Requester"}, **of_bucket)
        self.assertEqual(self.s3.get_bucket_request_payment(**of_bucket)["Payer"], "Requester")

    def test_mfa_delete_is_refused_and_not_just_forgotten(self):
        self.refused(501, "NotImplemented", self.s3.put_bucket_versioning, Bucket=self.bucket,
                     VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"})
        self.assertNotIn("Status", self.s3.get_bucket_versioning(Bucket=self.bucket))

    def test_enforced_ownership_shows_the_owner_s_list(self):
        self.put("k", b"x", ACL="public-read")
        self.s3.put_bucket_ownership_controls(Bucket=self.bucket, OwnershipControls={
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
        grants = self.s3.get_object_acl(Bucket=self.bucket, Key="k")["Grants"]
        self.assertEqual([grant["Permission"] for grant in grants], ["FULL_CONTROL"])


class Objects(BucketCase):
    def test_a_redirect_leads_to_a_path_or_a_url(self):
        self.refused(400, "InvalidRedirectLocation", self.put, key="k",
                     WebsiteRedirectLocation="elsewhere")
        self.put("k", WebsiteRedirectLocation="/elsewhere")
        self.assertEqual(self.head("k")["WebsiteRedirectLocation"], "/elsewhere")

    def test_head_answers_with_the_headers_that_are_asked_for(self):
        self.put("k", b"x", ContentType="text/plain")
        asked = self.head("k", ResponseContentType="text/html",
                          ResponseContentDisposition='attachment; filename="a b"')
        self.assertEqual(asked["ContentType"], "text/html")
        self.assertEqual(asked["ContentDisposition"], 'attachment; filename="a b"')
        self.assertEqual(self.head("k")["ContentType"], "text/plain")


if __name__ == "__main__":
    unittest.main()
