"""Files of other runtimes: export, conversion, parity gate."""
