"""What people say about edits: the user study, labels of components, and the pages that collect both."""
