package forward

// Listening returns where the private listener really listens.
func (f *Forwarder) Listening() string { return f.listener.Addr().String() }

const HeaderName = headerName
