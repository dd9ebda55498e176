"""python -m cmsearch.cli"""

from cmsearch.cli.app import main

main()
