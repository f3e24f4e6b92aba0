// Package integration tests whole programs: what no package can show about
// itself. It holds no product code.
//
//   - layout_test.go keeps the packages apart that are meant to be apart.
//   - interop_test.go runs the nested module interop, which talks to
//     wireguard-go. It is a module of its own so that the project's go.mod
//     shows that no foreign engine is inside.
package integration
