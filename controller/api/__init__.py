"""The interfaces of the controller: each only translates between its wire and `controller.service`."""
