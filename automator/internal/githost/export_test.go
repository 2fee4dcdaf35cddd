package githost

// APIOf is where the API of a host is.
func APIOf(host string) string { return apiOf(host) }
