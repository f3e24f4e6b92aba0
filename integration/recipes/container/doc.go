// Package container tests the recipe for containers, in a pod: the image of the Dockerfile beside one of an application,
// both without any capability and with a root file system that is read-only. Its folder app has that application.
package container
