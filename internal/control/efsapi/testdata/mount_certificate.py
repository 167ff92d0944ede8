"""Makes a client certificate for a mount as EFS's mount helper describes it.

usage: mount_certificate.py DIR FS-ID AP-ID REGION ACCESS-KEY SECRET TOKEN TIME [KEY-BITS]

AP-ID, ACCESS-KEY and TOKEN may be empty. DIR gets key.pem, certificate.pem and
certificate.der. Only openssl and Python's own library are used.
"""
import base64, hashlib, hmac, os, subprocess, sys
from urllib.parse import quote_plus

where, fs, ap, region, access, secret, token, stamp = sys.argv[1:9]
bits = sys.argv[9] if len(sys.argv) > 9 else "2048"


def openssl(*args):
    return subprocess.run(["openssl", *args], check=True, capture_output=True).stdout


key, conf = os.path.join(where, "key.pem"), os.path.join(where, "openssl.conf")
openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" + bits, "-out", key)
public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
# SubjectPublicKeyInfo ends with the BIT STRING: its bits after the byte that
# counts the unused ones.
at = int([l for l in openssl("asn1parse", "-in", key + ".pub", "-inform", "DER").decode().splitlines() if "BIT STRING" in l][0].split(":")[0]) \
    if open(key + ".pub", "wb").write(public) else 0
length = public[at + 1]
skip = 2 + (length & 0x7F if length & 0x80 else 0) + 1
fingerprint = hashlib.sha1(public[at + skip:]).hexdigest()

lines = ["[ ext ]", "subjectKeyIdentifier = hash"]
if ap:
    lines.append("1.3.6.1.4.1.4843.7.1 = ASN1:UTF8String:" + ap)
if access:
    lines.append("1.3.6.1.4.1.4843.7.2 = ASN1:SEQUENCE:auth")
lines.append("1.3.6.1.4.1.4843.7.3 = ASN1:UTF8String:" + fs)

if access:
    scope = "/".join([stamp[:8], region, "elasticfilesystem", "aws4_request"])
    query = {
        "Action": "Connect", "PublicKeyHash": fingerprint, "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": quote_plus(access + "/" + scope), "X-Amz-Date": stamp, "X-Amz-Expires": "86400",
        "X-Amz-SignedHeaders": "host",
    }
    if token:
        query["X-Amz-Security-Token"] = quote_plus(token)
    canonical = "\n".join(["GET", "/", "&".join(k + "=" + query[k] for k in sorted(query)), "host:" + fs, "host", hashlib.sha256(b"").hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    k = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    lines += ["[ auth ]", "accessKeyId = UTF8String:" + access, "signature = OCTETSTRING:" + hmac.new(k, text.encode(), hashlib.sha256).hexdigest(),
              "sigv4DateTime = UTCTIME:" + stamp[2:8] + stamp[9:15] + "Z"]
    if token:
        lines.append("sessionToken = EXPLICIT:0,UTF8String:" + token)

with open(conf, "w") as f:
    f.write("[ req ]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ext\n[ dn ]\nCN = mount\n" + "\n".join(lines) + "\n")
certificate = os.path.join(where, "certificate.pem")
openssl("req", "-new", "-x509", "-sha256", "-days", "365", "-config", conf, "-key", key, "-out", certificate)
openssl("x509", "-in", certificate, "-outform", "DER", "-out", os.path.join(where, "certificate.der"))
