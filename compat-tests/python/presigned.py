"""Presigned URLs in both styles, used without boto3."""

import os
import unittest
import urllib.error
import urllib.request

from server import BucketCase, client


class Presigned(BucketCase):
    def fetch(self, url, method="GET", body=None, headers=None):
        request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def signer(self, **settings):
        return client(signature_version="s3v4", **settings)

    def arguments(self, key):
        return {"Params": {"Bucket": self.bucket, "Key": key}, "ExpiresIn": 60}

    def test_a_url_uploads_and_another_downloads(self):
        key = "ü a+b//c"
        put = self.signer().generate_presigned_url("put_object", **self.arguments(key))
        self.fetch(put, "PUT", b"through a link")
        self.assertEqual(self.read(key), b"through a link")
        get = self.signer().generate_presigned_url("get_object", **self.arguments(key))
        self.assertEqual(self.fetch(get), b"through a link")

    def test_the_default_kind_of_url_works_too(self):
        self.put("k", b"x")
        url = self.s3.generate_presigned_url("get_object", **self.arguments("k"))
        self.assertEqual(self.fetch(url), b"x")

    def test_a_url_may_be_signed_for_a_type(self):
        for style in ["s3", "s3v4"]:
            arguments = self.arguments("k")
            arguments["Params"]["ContentType"] = "text/x"
            put = client(signature_version=style).generate_presigned_url("put_object", **arguments)
            self.fetch(put, "PUT", style.encode(), {"Content-Type": "text/x"})
            self.assertEqual(self.read("k"), style.encode())
            self.assertEqual(self.head("k")["ContentType"], "text/x")

    def test_a_url_is_for_its_method_and_its_key_alone(self):
        self.put("k", b"x")
        url = self.signer().generate_presigned_url("get_object", **self.arguments("k"))
        for method, wrong in [("PUT", url), ("DELETE", url), ("GET", url.replace("/k?", "/l?"))]:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.fetch(wrong, method, b"y" if method == "PUT" else None)
            self.assertEqual(caught.exception.code, 403)
            caught.exception.close()
        self.assertEqual(self.read("k"), b"x")

    def test_a_header_that_was_not_signed_is_not_obeyed(self):
        self.put("secret", b"secret")
        url = self.signer().generate_presigned_url("put_object", **self.arguments("target"))
        copy = {"x-amz-copy-source": f"/{self.bucket}/secret"}
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.fetch(url, "PUT", b"", copy)
        self.assertEqual(caught.exception.code, 403)
        caught.exception.close()
        self.assertFalse(self.exists("target"))

    def test_a_url_of_version_2_cannot_be_turned_into_another_operation(self):
        self.put("k", b"kept", Tagging="a=1")
        old = client(signature_version="s3")
        put = old.generate_presigned_url("put_object", **self.arguments("k"))
        bucket = {"Params": {"Bucket": self.bucket}}
        create = old.generate_presigned_url("create_bucket", **bucket)
        public = ('<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi='
                  '"http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>'
                  'http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>'
                  '<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>')
        block = ("<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
                 "</PublicAccessBlockConfiguration>")
        for url, more, body in [
            (put, "&acl&acl", public), (put, "&acl=&%61cl=", public),
            (put, "&tagging&tagging", "<Tagging><TagSet/></Tagging>"),
            (put, "&legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"),
            (put, "&retention", ""), (put, "&legal%2Dhold&legal%2Dhold", ""),
            (create, "&acl&acl", public), (create, "&publicAccessBlock", block),
        ]:
            self.assertIn("Signature=", url)
            with self.assertRaises(urllib.error.HTTPError, msg=more) as caught:
                self.fetch(url + more, "PUT", body.encode(), {"Content-Type": ""})
            self.assertEqual(caught.exception.code, 400, more)
            caught.exception.close()
        self.assertEqual(self.read("k"), b"kept")
        place = {"Bucket": self.bucket, "Key": "k"}
        self.assertEqual(self.s3.get_object_tagging(**place)["TagSet"], [{"Key": "a", "Value": "1"}])
        self.assertEqual(len(self.s3.get_object_acl(**place)["Grants"]), 1)
        self.assertEqual(len(self.s3.get_bucket_acl(Bucket=self.bucket)["Grants"]), 1)
        self.refused(404, "NoSuchPublicAccessBlockConfiguration", self.s3.get_public_access_block,
                     Bucket=self.bucket)
        self.fetch(put, "PUT", b"new", {"Content-Type": ""})
        self.assertEqual(self.read("k"), b"new", "the URL itself works")

    def test_a_bucket_may_stand_in_the_host_name(self):
        address = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
        os.environ["AWS_ENDPOINT_URL"] = address
        self.addCleanup(os.environ.update, AWS_ENDPOINT_URL=address.replace("localhost", "127.0.0.1"))
        host, port = f"{self.bucket}.localhost", address.rsplit(":", 1)[1]
        for version in ["s3", "s3v4"]:
            virtual = client(signature_version=version, s3={"addressing_style": "virtual"})
            for key in ["a b", "in/a folder"]:
                url = virtual.generate_presigned_url("put_object", **self.arguments(key))
                self.assertIn(f"http://{host}:", url)
                # Not every resolver knows names below localhost: the name goes into the header alone.
                direct = url.replace(host, "127.0.0.1")
                # urllib would name a type of its own, which version 2 signs.
                headers = {"Host": f"{host}:{port}", "Content-Type": ""}
                self.fetch(direct, "PUT", version.encode(), headers)
                self.assertEqual(self.read(key), version.encode())


if __name__ == "__main__":
    unittest.main()
