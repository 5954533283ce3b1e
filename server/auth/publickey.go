package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"regexp"
)

var (
	// keyType is the member that each JWK has, in JSON or in what somebody made of it.
	keyType = regexp.MustCompile(`\bkty\b["'\\]*\s*[:=]`)
	// sshType begins a field in the files of SSH: public keys, authorized keys, known hosts.
	sshType = regexp.MustCompile(`(^|[\s"',])@?(ssh-[a-z0-9]|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)`)
	// sshBlob is how such a key begins in binary, behind its length.
	sshBlob = regexp.MustCompile(`^\x00\x00\x00.(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)`)
	// modulus is what openssl and XML call the number of an RSA key.
	modulus = regexp.MustCompile(`(?i)\bmodulus\b`)
)

// isPublicKey reports whether data, which is no PEM and no JWK set that can be read, may be a key in another form than a secret, or in
// one of these in another encoding. It says yes too often rather than too seldom.
func isPublicKey(data []byte) bool {
	if looksLikeKey(data) {
		return true
	}
	for _, raw := range decodings(data) {
		if looksLikeKey(raw) {
			return true
		}
	}
	return false
}

// looksLikeKey looks at the data as they are.
func looksLikeKey(data []byte) bool {
	if isDER(data) || sshBlob.Match(data) {
		return true
	}
	text := bytes.ReplaceAll(data, []byte{0}, nil) // UTF-16
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		text = bytes.TrimPrefix(text, []byte(mark))
	}
	text = bytes.TrimSpace(text)
	for _, sign := range []string{"BEGIN ", "-----END", "---- END"} {
		if bytes.Contains(text, []byte(sign)) {
			return true
		}
	}
	return bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("[")) ||
		keyType.Match(text) || sshType.Match(text) || modulus.Match(text)
}

// decodings returns what the data are if they are text in base64 or hexadecimal digits, however it is broken into lines.
func decodings(data []byte) (all [][]byte) {
	packed := bytes.Join(bytes.Fields(bytes.Trim(bytes.ReplaceAll(data, []byte{0}, nil), " \t\r\n\"'\xef\xbb\xbf\xff\xfe")), nil)
	digits := bytes.TrimPrefix(bytes.TrimPrefix(bytes.ReplaceAll(packed, []byte(":"), nil), []byte("0x")), []byte("0X"))
	raw := make([]byte, hex.DecodedLen(len(digits)))
	if n, err := hex.Decode(raw, digits); err == nil {
		all = append(all, raw[:n])
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		raw := make([]byte, encoding.DecodedLen(len(packed)))
		if n, err := encoding.Decode(raw, packed); err == nil {
			all = append(all, raw[:n])
		}
	}
	return all
}

// isDER reports whether data are a key or a certificate, or the beginning of one.
func isDER(data []byte) bool {
	_, pkix := x509.ParsePKIXPublicKey(data)
	_, pkcs1 := x509.ParsePKCS1PublicKey(data)
	_, cert := x509.ParseCertificate(data)
	_, pkcs8 := x509.ParsePKCS8PrivateKey(data)
	return pkix == nil || pkcs1 == nil || cert == nil || pkcs8 == nil || beginsDER(data)
}

// beginsDER knows a long sequence that begins with another one or with a number, and a short one that begins with an algorithm.
func beginsDER(data []byte) bool {
	const sequence, number, algorithm = 0x30, 0x02, 0x06
	if len(data) < 8 || data[0] != sequence {
		return false
	}
	if long := int(data[1]) - 0x80; long >= 1 && long <= 3 {
		return data[2+long] == sequence || data[2+long] == number
	}
	return data[2] == sequence && data[4] == algorithm
}
