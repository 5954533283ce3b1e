package auth

// TokenOf finds the token in an auth object.
func TokenOf(object []byte) (string, error) {
	o := Options{Field: "token"}
	token, r := o.fromAuth(object)
	if r != nil {
		return token, r
	}
	return token, nil
}
