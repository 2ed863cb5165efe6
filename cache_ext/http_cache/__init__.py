"""A shared HTTP cache in front of any WSGI application: `door.HttpCache`; see docs/http-caching.md.

Rules, pure functions of text and numbers, each with tests by clause:

    fields          field values parsed strictly: directives, seconds, dates, lists
    storing         may this response be stored, and which of its fields (RFC 9111, section 3)
    freshness       how long it is fresh, how old it is (section 4.2)
    request_rules   what the request demands (section 5.2.1)
    conditional     validators compared, 304 (RFC 9110, section 13)
    ranges          parts of a stored response (section 14)
    codings         gzip, br, zstd: which one a client gets (section 12.5.3)
    variants        Vary: what tells stored responses of one URL apart (RFC 9111, section 4.1)
    keys            the name of a URL as the application sees it

A response on its way:

    recording       runs the application and notes what it answers
    stored          a response as ready bytes, and as it travels
    making          from what the application answered to what is stored, a 304 included
    answering       from what is stored to what one client gets

And with the engine, whose entries the stored responses are:

    lookup          finds, loads (one for all), refreshes
    selecting       the stored response of a URL that suits a request
    asking          runs the application as a loader of the engine
    serving         stored responses with their age and where they come from
    passing         lets through what is not stored; unsafe methods invalidate
    uncacheable     remembers for a moment what is not worth waiting for
    resting         how often a response is made anew ahead of its end
    considering     the way of a request that takes more than a look into L1
    options, door   `HttpCache`: how it is set up, and the way in
"""
