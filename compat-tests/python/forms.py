"""HTML forms: signed in both styles, without boto3's help where a browser would send them."""

import base64
import datetime
import hashlib
import hmac
import json
import os
import unittest
import urllib.error
import urllib.request
import uuid

from server import BucketCase, client

ACCESS, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = os.environ["AWS_DEFAULT_REGION"]
DAY, MINUTE = datetime.timedelta(days=1), datetime.timedelta(minutes=1)
TAGGING = "<Tagging><TagSet><Tag><Key>a b</Key><Value>ü+</Value></Tag></TagSet></Tagging>"


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Forms(BucketCase):
    def post(self, fields, file=b"file"):
        """Sends a form as a browser does; returns the status and the error's code."""
        status, _, text = self.send(fields, file)
        return status, text.partition("<Code>")[2].partition("<")[0] or None

    def send(self, fields, file=b"file", late=()):
        """The same, with `late` fields behind the file; returns the answer's status, headers and body."""
        boundary = uuid.uuid4().hex
        body = b""
        for name, value in [*fields.items(), ("file", file), *late]:
            extra = '; filename="a b.txt"' if name == "file" else ""
            value = value if isinstance(value, bytes) else value.encode()
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
                     ).encode() + value + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}"
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(url, data=body, headers=kind, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def policy(self, conditions, expiration=None):
        expiration = expiration or (now() + DAY).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        conditions = [{"bucket": self.bucket}, ["starts-with", "$key", ""], *conditions]
        document = {"expiration": expiration, "conditions": conditions}
        return base64.b64encode(json.dumps(document).encode()).decode()

    def test_fields_behind_the_file_are_passed_over(self):
        late = [("submit", "Upload"), ("key", "other")]
        status, _, text = self.send(self.version_4(), b"sent", late)
        self.assertEqual(status, 204, text)
        self.assertEqual(self.read("k"), b"sent")
        self.assertFalse(self.exists("other"))

    def version_2(self, conditions=(), fields=None, **more):
        policy = self.policy(list(conditions), **more)
        signature = hmac.new(SECRET.encode(), policy.encode(), hashlib.sha1).digest()
        return {"key": "k", "AWSAccessKeyId": ACCESS, **(fields or {}), "policy": policy,
                "signature": base64.b64encode(signature).decode()}

    def version_4(self, conditions=(), fields=None, signed_at=None, **more):
        date = (signed_at or now()).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{date[:8]}/{REGION}/s3/aws4_request"
        signing = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": date,
                   "x-amz-credential": f"{ACCESS}/{scope}"}
        policy = self.policy([*conditions, *({n: v} for n, v in signing.items())], **more)
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac_sha256(key, part)
        return {"key": "k", **signing, **(fields or {}), "policy": policy,
                "x-amz-signature": hmac_sha256(key, policy).hex()}

    def styles(self):
        return [self.version_2, self.version_4]

    def test_what_boto3_presigns_is_taken(self):
        for style in ["s3", "s3v4"]:
            presigned = client(signature_version=style).generate_presigned_post(
                self.bucket, "${filename}", Fields={"acl": "private"},
                Conditions=[{"acl": "private"}])
            self.assertEqual(self.post(presigned["fields"], style.encode()), (204, None))
            self.assertEqual(self.read("a b.txt"), style.encode())

    def test_keys_of_all_kinds_go_through(self):
        for sign in self.styles():
            for key in ["a b", "a+b", "a//b", "/k", "dir/", "ü/日本語", "100%", "%2F", "a&b=c"]:
                self.assertEqual(self.post(sign(fields={"key": key}), key.encode())[0], 204, key)
                self.assertEqual(self.read(key), key.encode())

    def test_the_field_tagging_holds_a_document_that_the_policy_must_allow(self):
        allowed = [["starts-with", "$tagging", "<Tagging>"]]
        for sign in self.styles():
            self.assertEqual(self.post(sign(allowed, {"tagging": TAGGING}))[0], 204)
            tags = self.s3.get_object_tagging(Bucket=self.bucket, Key="k")["TagSet"]
            self.assertEqual(tags, [{"Key": "a b", "Value": "ü+"}])
            self.assertEqual(self.post(sign(fields={"key": "l", "tagging": TAGGING})),
                             (403, "AccessDenied"))
            malformed = sign(allowed, {"key": "l", "tagging": TAGGING[:-3]})
            self.assertEqual(self.post(malformed), (400, "MalformedXML"))
            eleven = TAGGING.replace("<TagSet>", "<TagSet>" + "".join(
                f"<Tag><Key>{n}</Key><Value/></Tag>" for n in range(10)))
            self.assertEqual(self.post(sign(allowed, {"key": "l", "tagging": eleven}))[0], 400)
        self.assertFalse(self.exists("l"))

    def test_the_answer_tells_of_the_object(self):
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}/dir%2Fa%20%26%20b"
        etag = f'"{hashlib.md5(b"file").hexdigest()}"'
        for sign in self.styles():
            for wanted in ["200", "201", "204"]:
                status = [{"success_action_status": wanted}]
                fields = {"key": "dir/a & b", "success_action_status": wanted}
                status, headers, text = self.send(sign(status, fields))
                self.assertEqual(str(status), wanted)
                self.assertEqual((headers["ETag"], headers["Location"]), (etag, url))
                if wanted == "201":
                    self.assertIn(f"<Location>{url}</Location>", text)

    def test_a_checksum_in_the_fields_is_in_the_answer(self):
        digest = base64.b64encode(hashlib.sha256(b"file").digest()).decode()
        checksum = {"x-amz-checksum-sha256": digest}
        for sign in self.styles():
            status, headers, _ = self.send(sign([checksum], checksum))
            self.assertEqual((status, headers["x-amz-checksum-sha256"]), (204, digest))

    def test_a_refusal_names_the_condition_that_failed(self):
        for sign in self.styles():
            status, _, text = self.send(sign([{"acl": "private"}], {"acl": "public-read"}))
            self.assertEqual(status, 403)
            condition = '["eq", "$acl", "private"]'
            self.assertIn(f"Policy Condition failed: {condition}</Message>", text)

    def test_a_lock_in_the_fields_counts(self):
        bucket, self.bucket = self.bucket, "b" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=self.bucket, ObjectLockEnabledForBucket=True)
        until = (now() + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        lock = {"x-amz-object-lock-mode": "GOVERNANCE",
                "x-amz-object-lock-retain-until-date": until,
                "x-amz-object-lock-legal-hold": "ON"}
        for sign in self.styles():
            named = [{name: value} for name, value in lock.items()]
            self.assertEqual(self.post(sign(named, lock)), (204, None))
            kept = self.head("k")
            self.assertEqual(kept["ObjectLockMode"], "GOVERNANCE")
            self.assertEqual(kept["ObjectLockLegalHoldStatus"], "ON")
        self.bucket = bucket

    def test_a_checksum_needs_no_condition_and_is_compared(self):
        digest = base64.b64encode(hashlib.sha256(b"file").digest()).decode()
        for sign in self.styles():
            for conditions in [[], [["starts-with", "$x-amz-checksum-sha256", ""]]]:
                fields = {"x-amz-checksum-sha256": digest}
                self.assertEqual(self.post(sign(conditions, fields)), (204, None))
                self.assertEqual(self.head("k", ChecksumMode="ENABLED")["ChecksumSHA256"], digest)
                other = self.post(sign(conditions, {"key": "l", **fields}), b"another")
                self.assertEqual(other, (400, "BadDigest"))
            forbidden = sign([{"x-amz-checksum-sha256": "another"}],
                             {"key": "l", "x-amz-checksum-sha256": digest})
            self.assertEqual(self.post(forbidden), (403, "AccessDenied"))
            self.assertEqual(self.post(sign(fields={"key": "l", "x-amz-meta-a": "b"})),
                             (403, "AccessDenied"))
        self.assertFalse(self.exists("l"))

    def test_a_form_is_good_as_long_as_its_policy(self):
        hours_ago = now() - 20 * 60 * MINUTE
        self.assertEqual(self.post(self.version_4(signed_at=hours_ago)), (204, None))
        over = (now() - MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
        for sign in self.styles():
            self.assertEqual(self.post(sign(fields={"key": "l"}, expiration=over)),
                             (403, "AccessDenied"))
            spaced = (now() + DAY).strftime("%Y-%m-%d %H:%M:%SZ")
            self.assertEqual(self.post(sign(fields={"key": "l"}, expiration=spaced)),
                             (400, "InvalidPolicyDocument"))
        self.assertFalse(self.exists("l"))

    def test_a_policy_needs_a_signature_and_that_must_be_right(self):
        for sign, name in zip(self.styles(), ["signature", "x-amz-signature"]):
            unsigned = {key: value for key, value in sign().items() if key != name}
            self.assertEqual(self.post(unsigned), (400, "InvalidArgument"))
            forged = {**sign(), "policy": self.policy([["starts-with", "$acl", ""]])}
            self.assertEqual(self.post(forged)[0] // 100, 4)
        self.assertEqual(self.post({"key": "k"}), (403, "AccessDenied"))
        self.assertFalse(self.exists("k"))

    def test_fields_before_the_file_have_a_limit(self):
        for sign in self.styles():
            long = sign([["starts-with", "$x-amz-meta-a", ""]], {"x-amz-meta-a": "x" * 20480})
            self.assertEqual(self.post(long), (400, "MaxPostPreDataLengthExceededError"))
        self.assertFalse(self.exists("k"))

    def test_a_large_file_goes_through_behind_a_cut_head(self):
        body = bytes(range(256)) * 40_000
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        fields = self.version_4(fields={"x-amz-checksum-sha256": digest})
        self.assertEqual(self.post(fields, body), (204, None))
        self.assertEqual(self.read("k"), body)


if __name__ == "__main__":
    unittest.main()
